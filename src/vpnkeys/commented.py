"""JSON with comments, as Xray reads config.json."""

import re

# As `infra/conf/json/reader.go` of Xray 26.3.27 has it: comments begin with //, # or /*, but not within quotes. A
# comment that does not end runs to the end of the file, and a line break may stand between the `*` and the `/`.
_QUOTED_OR_COMMENT = re.compile(
    r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|//[^\n]*|\#[^\n]*|/\*.*?(?:\*[*\n]*/|\Z)""", re.DOTALL
)


def without_comments(text: str) -> str:
    """Return the text without its comments; the same text when it has none."""
    return _QUOTED_OR_COMMENT.sub(lambda found: found[1] or "", text)
