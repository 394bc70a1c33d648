// The part of uPlot 1.6 that chart.js and recent.js use. The package's own declarations are for its whole interface.

interface Axis {
  stroke: string;
  font: string;
  ticks: { show: boolean };
  grid: { show?: boolean; stroke?: string; width?: number };
  space: number;
  size: number;
  values: (plot: uPlot, splits: number[]) => string[];
}

interface Series {
  paths?: object;
  fill?: string;
  stroke?: string;
  width?: number;
  points?: { show: boolean };
}

interface Scale {
  time?: boolean;
  range: (plot: uPlot, least: number, most: number) => [number, number];
}

export interface Options {
  width: number;
  height: number;
  padding: [number, number, number, number];
  legend: { show: boolean };
  tzDate?: (seconds: number) => Date;
  cursor: { y: boolean; points: { show: boolean }; drag: { x: boolean; y: boolean } };
  scales: Record<string, Scale>;
  axes: Axis[];
  series: Series[];
  hooks: { setCursor: ((plot: uPlot) => void)[] };
}

export default class uPlot {
  constructor(options: Options, data: number[][], target: HTMLElement);
  readonly root: HTMLElement;
  readonly cursor: { idx: number | null | undefined };
  setData(data: number[][]): void;
  setSize(size: { width: number; height: number }): void;
  destroy(): void;
  static tzDate(date: Date, zone: string): Date;
  static paths: { bars(options: { size: [number, number]; radius: number }): object };
}
