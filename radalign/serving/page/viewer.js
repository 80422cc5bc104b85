"use strict";
import { COLOURS } from "./colours.js";

const SIDE = 512;  // pixels that the longer side of a map is drawn with
const MOST_ZOOM = 12;
export const WHOLE = { level: 128, width: 256, inverted: false };

/** A film with the window that it is shown in; both viewers draw the same one. */
export class Picture {
  constructor(rows, columns, levels) {
    this.rows = rows;
    this.columns = columns;
    this.levels = levels;
    this.canvas = Object.assign(document.createElement("canvas"), { width: columns, height: rows });
    this.context = this.canvas.getContext("2d");
    this.pixels = this.context.createImageData(columns, rows);
    this.words = new Uint32Array(this.pixels.data.buffer);
    this.show(WHOLE);
  }

  show({ level, width, inverted }) {
    const table = new Uint32Array(256);
    for (let grey = 0; grey < 256; grey += 1) {
      const share = Math.min(1, Math.max(0, (grey + 0.5 - (level - width / 2)) / width));
      const shown = Math.min(255, Math.floor(256 * (inverted ? 1 - share : share)));
      table[grey] = (255 << 24) | (shown << 16) | (shown << 8) | shown;
    }
    const { levels, words } = this;
    for (let at = 0; at < levels.length; at += 1) words[at] = table[levels[at]];
    this.context.putImageData(this.pixels, 0, 0);
  }
}

/** A map in colours, as opaque as it is high. Between the centres of its cells it is linear. */
export function drawMap({ rows, columns, levels }) {
  const cells = Uint8Array.from(atob(levels), (letter) => letter.charCodeAt(0));
  const fine = Math.max(1, Math.round(SIDE / Math.max(rows, columns)));
  const [height, width] = [rows * fine, columns * fine];
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const place = (at, count) => {
    const exact = Math.min(count - 1, Math.max(0, (at + 0.5) / fine - 0.5));
    const first = Math.floor(exact);
    return [first, Math.min(count - 1, first + 1), exact - first];
  };
  const across = Array.from({ length: width }, (_, x) => place(x, columns));
  for (let y = 0; y < height; y += 1) {
    const [top, bottom, down] = place(y, rows);
    for (let x = 0; x < width; x += 1) {
      const [left, right, aside] = across[x];
      const above = cells[top * columns + left] * (1 - aside) + cells[top * columns + right] * aside;
      const below = cells[bottom * columns + left] * (1 - aside) + cells[bottom * columns + right] * aside;
      const level = Math.round(above * (1 - down) + below * down);
      image.data.set([COLOURS[3 * level], COLOURS[3 * level + 1], COLOURS[3 * level + 2], level], 4 * (y * width + x));
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** The part of a film that all viewers show: zoom, and the point of the film in their middle, in shares. */
export class View {
  constructor(changed) {
    this.changed = changed;
    this.reset();
  }

  reset() {
    Object.assign(this, { zoom: 1, x: 0.5, y: 0.5 });
    this.changed();
  }

  move(x, y) {
    const reach = 0.5 - 0.5 / this.zoom;  // so that the film does not leave the viewer
    this.x = Math.min(0.5 + reach, Math.max(0.5 - reach, this.x + x));
    this.y = Math.min(0.5 + reach, Math.max(0.5 - reach, this.y + y));
    this.changed();
  }

  /** Zoom so that the point at `x`, `y` (shares of the film from the middle of the viewer) stays where it is. */
  scale(factor, x = 0, y = 0) {
    const zoom = Math.min(MOST_ZOOM, Math.max(1, this.zoom * factor));
    const stays = 1 - this.zoom / zoom;
    this.zoom = zoom;
    this.move(x * stays, y * stays);
  }
}

/** One model's image, with a map over it. */
export class Viewer {
  constructor(name, digest, view, actions) {
    this.view = view;
    this.actions = actions;
    this.figure = document.createElement("figure");
    const caption = this.figure.appendChild(document.createElement("figcaption"));
    for (const [tag, kind, text] of [["b", "", name], ["span", "digest", digest], ["span", "finding", ""]]) {
      caption.append(Object.assign(document.createElement(tag), { className: kind, textContent: text }));
    }
    this.name = name;
    this.canvas = this.figure.appendChild(document.createElement("canvas"));
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.pointers = new Map();
    this._listen();
  }

  show(picture) {
    this.picture = picture;
    this.canvas.style.setProperty("--proportions", `${picture.columns} / ${picture.rows}`);
  }

  /** Lay the map of a finding over the image; `score` is its score in words, `number` in digits. */
  locate(row, score, number) {
    this.map = row?.map && { ...row.map, canvas: drawMap(row.map) };
    const flat = row?.map && row.map.least === row.map.greatest;
    const parts = row ? [row.finding, number, flat && "(no map)"] : [];
    this.figure.querySelector(".finding").textContent = parts.filter(Boolean).join(" ");
    this.canvas.setAttribute("aria-label", `Radiograph, model ${this.name}${row ? `, ${row.finding}: ${score}` : ""}`);
  }

  draw(opacity) {
    const { canvas, picture } = this;
    if (!picture || !canvas.clientWidth) return;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const box = this._box(width, height);
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    context.drawImage(picture.canvas, box.left, box.top, box.width, box.height);
    if (!this.map || !opacity) return;
    context.save();
    context.beginPath();
    context.rect(box.left, box.top, box.width, box.height);
    context.clip();
    context.globalAlpha = opacity;
    const { left, top, width: across, height: down } = this.map;
    const start = [box.left + left * box.width, box.top + top * box.height];
    context.drawImage(this.map.canvas, ...start, across * box.width, down * box.height);
    context.restore();
  }

  /** Where the whole film lies in a canvas of this size. */
  _box(width, height) {
    const fit = Math.min(width / this.picture.columns, height / this.picture.rows) * this.view.zoom;
    const size = { width: this.picture.columns * fit, height: this.picture.rows * fit };
    return { ...size, left: width / 2 - this.view.x * size.width, top: height / 2 - this.view.y * size.height };
  }

  _shares(x, y) {
    const box = this._box(this.canvas.clientWidth, this.canvas.clientHeight);
    return [x / box.width, y / box.height];
  }

  _listen() {
    const { canvas, pointers } = this;
    const middle = (event) => {
      const area = canvas.getBoundingClientRect();
      return this._shares(event.clientX - area.x - area.width / 2, event.clientY - area.y - area.height / 2);
    };
    canvas.addEventListener("wheel", (event) => {
      if (!this.picture) return;
      event.preventDefault();
      this.view.scale(Math.exp(-event.deltaY / (event.deltaMode ? 20 : 400)), ...middle(event));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, event);
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before || !this.picture) return;
      const other = [...pointers.values()].find((one) => one.pointerId !== event.pointerId);
      pointers.set(event.pointerId, event);
      const [x, y] = [event.clientX - before.clientX, event.clientY - before.clientY];
      if (other) {
        const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
        this.view.scale(apart(event) / Math.max(1, apart(before)), ...middle(event));
      } else if (this.actions.windows() || event.buttons === 2) {
        this.actions.adjust(x, -y);
      } else {
        this.view.move(...this._shares(-x, -y));
      }
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => pointers.delete(event.pointerId));
    }
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step || !this.picture) return;
      event.preventDefault();
      if (event.shiftKey) this.actions.adjust(8 * step[0], -8 * step[1]);
      else this.view.move(...step.map((one) => (0.1 * one) / this.view.zoom));
    });
  }
}
