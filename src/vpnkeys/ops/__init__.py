"""Work on a data directory as a whole: backup, restore, daily work, vital signs."""
