
"use strict";
// A curve for each measure, one below the other over the same frames.

const PAD = { left: 52, right: 16, top: 12, bottom: 28 };
const HEIGHT = 190;

function draws(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** About ``count`` round numbers from low to high. */
function ticks(low, high, count) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) {
    found.push(i * step);
  }
  return { values: found, decimals: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

const number = (value) => (value === null || value === undefined ? NaN : Number(value));

class Curve {
  constructor(metric, last) {
    this.metric = metric;
    this.last = last;
    this.count = report.frames.length;
    this.series = report.candidates.map(({ label, series, values }) => ({
      label, series, values: values[metric.name].map(number),
    }));
    const finite = this.series.flatMap(({ values }) => values.filter(Number.isFinite));
    let low = finite.reduce((a, b) => Math.min(a, b), Infinity);
    let high = finite.reduce((a, b) => Math.max(a, b), -Infinity);
    if (!finite.length) [low, high] = [0, 1];
    const margin = (high - low) * 0.06 || Math.abs(high) * 0.01 || 1;
    [this.low, this.high] = [low - margin, high + margin];
    this.infinite = this.series.some(({ values }) => values.includes(Infinity));
    this.at = null;
    this.tip = make("div", { class: "tip", hidden: "" });
    this.svg = draws("svg", { role: "img", tabindex: "0", "aria-label": this.describe() });
    const way = { true: "higher is better", false: "lower is better" }[metric.better] ?? "";
    this.element = make("div", { class: "curve", "data-metric": metric.name },
      make("h3", {}, metric.label, " ",
        make("span", {}, [metric.unit, way].filter(Boolean).join(", "))),
      this.svg, this.tip);
    this.svg.addEventListener("pointermove", (event) => this.point(this.frameAt(event)));
    this.svg.addEventListener("pointerleave", () => this.point(null));
    this.svg.addEventListener("blur", () => this.point(null));
    this.svg.addEventListener("click", (event) => chooseFrame(this.frameAt(event)));
    this.svg.addEventListener("keydown", (event) => this.key(event));
  }

  describe() {
    const parts = this.series.map(({ label, values }) => {
      const finite = values.filter(Number.isFinite);
      if (!finite.length) return `${label}: none`;
      const [low, high] = [Math.min, Math.max].map((f) =>
        figure(finite.reduce((a, b) => f(a, b)), this.metric.decimals));
      return `${label}: ${low} to ${high} ${this.metric.unit}`.trim();
    });
    return `${this.metric.label} of ${this.count} ${isImages ? "images" : "frames"}. `
      + `${parts.join("; ")}. Arrow keys read the values, Enter shows the pictures.`;
  }

  x(position) {
    const room = this.width - PAD.left - PAD.right;
    return PAD.left + (this.count > 1 ? position / (this.count - 1) : 0.5) * room;
  }

  y(value) {
    const room = HEIGHT - PAD.top - PAD.bottom;
    const top = PAD.top + (this.infinite ? 14 : 0);
    if (value === Infinity) return PAD.top;
    if (value === -Infinity) return HEIGHT - PAD.bottom;
    return top + (this.high - value) / (this.high - this.low) * (room - (top - PAD.top));
  }

  frameAt(event) {
    const box = this.svg.getBoundingClientRect();
    const room = this.width - PAD.left - PAD.right;
    const share = (event.clientX - box.left - PAD.left) / room;
    return clamp(Math.round(share * (this.count - 1)), 0, this.count - 1);
  }

  /** The line, cut where there is no value; with more frames than pixels, each pixel's extremes. */
  path(values) {
    const bucket = Math.max(1, Math.floor(this.count / (2 * this.width)));
    const points = [];
    for (let start = 0; start < values.length; start += bucket) {
      const part = values.slice(start, start + bucket);
      if (bucket === 1) points.push([start, part[0]]);
      else {
        const known = part.map((v, i) => [start + i, v]).filter(([, v]) => !Number.isNaN(v));
        known.sort((a, b) => a[1] - b[1]);
        const ends = known.length ? [known[0], known[known.length - 1]] : [[start, NaN]];
        points.push(...ends.sort((a, b) => a[0] - b[0]));
      }
    }
    let pen = false;
    return points.map(([position, value]) => {
      if (Number.isNaN(value)) { pen = false; return ""; }
      const command = pen ? "L" : "M";
      pen = true;
      return `${command}${this.x(position).toFixed(1)} ${this.y(value).toFixed(1)}`;
    }).join("");
  }

  draw() {
    this.width = this.element.clientWidth;
    if (!this.width) return;
    const bottom = HEIGHT - PAD.bottom;
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.svg.setAttribute("height", HEIGHT);
    const grid = draws("g", { "aria-hidden": "true" });
    const right = this.width - PAD.right;
    const down = ticks(this.low, this.high, 4);
    for (const value of down.values) {
      const y = this.y(value);
      grid.append(draws("line", { class: "lines", x1: PAD.left, x2: right, y1: y, y2: y }),
        draws("text", { x: PAD.left - 8, y: y + 4, "text-anchor": "end" },
          figure(value, down.decimals)));
    }
    if (this.infinite) {
      grid.append(draws("text", { x: PAD.left - 8, y: PAD.top + 4, "text-anchor": "end" }, "∞"));
    }
    const across = ticks(0, this.count - 1, Math.max(2, Math.floor(this.width / 110)));
    for (const position of across.values.filter((v) => Number.isInteger(v) && v < this.count)) {
      grid.append(draws("text", { x: this.x(position), y: bottom + 18, "text-anchor": "middle" },
        String(report.frames[position][0])));
    }
    grid.append(draws("line", { class: "lines", x1: PAD.left, x2: right, y1: bottom, y2: bottom }));
    for (const { index } of report.stills) {
      const position = positionOf.get(index);
      if (position === undefined) continue;
      const x = this.x(position);
      grid.append(draws("line", { class: "has", x1: x, x2: x, y1: bottom - 5, y2: bottom }));
    }
    this.svg.replaceChildren(grid);
    this.now = draws("line", { class: "now", y1: PAD.top, y2: bottom, visibility: "hidden" });
    this.cross = draws("line", { class: "cross", y1: PAD.top, y2: bottom, visibility: "hidden" });
    this.svg.append(this.now, this.cross);
    // The one in question lies on top.
    for (const { series, values } of [...this.series].reverse()) {
      const group = draws("g", { class: `series-${series}` });
      if (!isImages) group.append(draws("path", { class: "line", d: this.path(values) }));
      if (isImages || this.count <= 60) {
        values.forEach((value, position) => {
          if (Number.isNaN(value)) return;
          group.append(draws("circle", {
            class: "dot", cx: this.x(position), cy: this.y(value), r: isImages ? 3 : 2 }));
        });
      }
      this.svg.append(group);
    }
    this.drawWorst();
    this.mark(shownFrame);
  }

  drawWorst() {
    for (const { frame } of report.worst) {
      const value = this.series[0].values[frame];
      if (Number.isNaN(value)) continue;
      const [x, y] = [this.x(frame), this.y(value)];
      const below = y + 20 < HEIGHT - PAD.bottom;
      this.svg.append(draws("circle", { class: "mark", cx: x, cy: y, r: 5 }),
        draws("text", { class: "mark-text", x, y: below ? y + 19 : y - 10, "text-anchor": "middle",
          "aria-hidden": "true" }, String(report.frames[frame][0])));
    }
  }

  /** Show where the frame with the pictures is. */
  mark(index) {
    const position = positionOf.get(index);
    if (!this.now || position === undefined) return;
    const x = this.x(position);
    this.now.setAttribute("x1", x);
    this.now.setAttribute("x2", x);
    this.now.setAttribute("visibility", "visible");
  }

  /** Show a frame's values beside the pointer; null hides them. */
  point(position) {
    this.at = position;
    this.tip.hidden = position === null;
    this.cross.setAttribute("visibility", position === null ? "hidden" : "visible");
    if (position === null) return;
    const x = this.x(position);
    this.cross.setAttribute("x1", x);
    this.cross.setAttribute("x2", x);
    const [index, title] = report.frames[position];
    const rows = this.series.map(({ label, series, values }) => make("tr", {},
      make("th", {}, make("span", { class: `swatch series-${series}` }), label),
      make("td", {}, `${figure(Number.isFinite(values[position]) ? values[position]
        : Number.isNaN(values[position]) ? null : String(values[position]),
      this.metric.decimals)} ${this.metric.unit}`.trim())));
    this.tip.replaceChildren(
      make("div", {}, [`${frameWord} ${index}`, title].filter(Boolean).join(", ")),
      make("table", {}, make("tbody", {}, ...rows)));
    const wide = this.tip.offsetWidth;
    this.tip.style.left = `${x + 14 + wide > this.width ? Math.max(0, x - 14 - wide) : x + 14}px`;
  }

  key(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 };
    const now = this.at ?? positionOf.get(shownFrame) ?? 0;
    if (event.key in steps) this.point(clamp(now + steps[event.key], 0, this.count - 1));
    else if (event.key === "Home") this.point(0);
    else if (event.key === "End") this.point(this.count - 1);
    else if (event.key === "Enter") chooseFrame(now);
    else if (event.key === "Escape") this.point(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

let shownFrame = report.stills[view.still]?.index ?? null;
const curves = report.metrics.map((metric, at) => new Curve(metric, at === report.metrics.length - 1));

if (curves.length && report.frames.length) {
  byId("curves").append(...curves.map(({ element }) => element));
  byId("legend").append(...report.candidates.map(({ label, series }) => make("li", {},
    make("span", { class: `swatch series-${series}`, "aria-hidden": "true" }), label)));
  byId("worst").hidden = !report.worst.length;
  byId("worst").append(...report.worst.map(({ frame, text }) => {
    const [index, title] = report.frames[frame];
    const name = isImages ? title : String(index);
    const button = make("button", { type: "button", "data-frame": index, title },
      `${name}: ${text}`);
    button.addEventListener("click", () => {
      chooseFrame(frame);
      byId("look").scrollIntoView({ block: "start" });
    });
    return button;
  }));
  const drawAll = () => curves.forEach((curve) => curve.draw());
  drawAll();
  addEventListener("resize", drawAll);
  document.addEventListener("vsr:frame", ({ detail }) => {
    shownFrame = detail;
    curves.forEach((curve) => curve.mark(detail));
  });
}
