// bloodcell.data.crops.finder and .cut once more, in the language of a browser. Every value comes from there
// (`data.finder`); tests/prediction/test_page.py holds the boxes and the answers to those of Python.
// A picture is {width, height, rgb}: a Uint8ClampedArray or Uint8Array of width * height * 3 bytes.

const FINDER_VERSION = "1";

// Python's round(): halves go to the even neighbour.
const even = (value) => {
  const down = Math.floor(value), rest = value - down;
  return rest > 0.5 || (rest === 0.5 && down % 2 !== 0) ? down + 1 : down;
};

// numpy.percentile of whole numbers, linear, from how often each occurs.
function percentile(counts, share) {
  const total = counts.reduce((sum, count) => sum + count, 0), place = share * (total - 1), low = Math.floor(place);
  const at = (rank) => {
    let value = 0;
    for (let seen = counts[0]; seen <= rank; seen += counts[value]) value += 1;
    return value;
  };
  const a = at(low), b = at(Math.min(low + 1, total - 1)), rest = place - low;
  return rest >= 0.5 ? b - (b - a) * (1 - rest) : a + (b - a) * rest;
}

// Pillow's Image.reduce: means of squares, rounded by whole numbers.
function reduced({ width, height, rgb }, factor) {
  const across = Math.ceil(width / factor), down = Math.ceil(height / factor), out = new Uint8Array(across * down * 3);
  for (let y = 0; y < down; y++) for (let x = 0; x < across; x++) {
    const right = Math.min((x + 1) * factor, width), bottom = Math.min((y + 1) * factor, height);
    const area = (right - x * factor) * (bottom - y * factor);
    const multiplier = Math.floor(Math.fround(2 ** 24 / area));
    for (let c = 0; c < 3; c++) {
      let sum = Math.floor(area / 2);
      for (let v = y * factor; v < bottom; v++) for (let u = x * factor; u < right; u++) sum += rgb[(v * width + u) * 3 + c];
      out[(y * across + x) * 3 + c] = Math.floor((sum * multiplier) / 2 ** 24);
    }
  }
  return { width: across, height: down, rgb: out };
}

// Shifts within a distance of 0, as SciPy's structures; a cross for radius 1.
const disc = (radius) => {
  const shifts = [];
  for (let y = -radius; y <= radius; y++) for (let x = -radius; x <= radius; x++) if (x * x + y * y <= radius * radius) shifts.push([x, y]);
  return shifts;
};

// Dilation (`want` 1) or erosion (`want` 0); what lies outside is empty for both.
function morphed(mask, width, height, shifts, want) {
  const out = new Uint8Array(mask.length);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    const hit = shifts.some(([dx, dy]) => {
      const u = x + dx, v = y + dy, inside = u >= 0 && v >= 0 && u < width && v < height;
      return (inside ? mask[v * width + u] : 0) === want;
    });
    out[y * width + x] = hit === (want === 1) ? 1 : 0;
  }
  return out;
}

// Optical density of red and green less twice that of blue, against the field's own background.
function purpleOf({ width, height, rgb }, values) {
  const size = width * height;
  let black = Uint8Array.from({ length: size }, (_, k) => (Math.max(rgb[3 * k], rgb[3 * k + 1], rgb[3 * k + 2]) < values.BLACK ? 1 : 0));
  for (let turn = 0; turn < 2; turn++) black = morphed(black, width, height, disc(1), 1);
  const counts = [0, 1, 2].map(() => new Array(256).fill(0));
  for (let k = 0; k < size; k++) if (!black[k]) counts.forEach((one, c) => (one[rgb[3 * k + c]] += 1));
  if (black.every((one) => one)) return new Float32Array(size);
  const background = counts.map((one) => Math.max(percentile(one, 0.9), 1));
  const density = background.map((one) => Float32Array.from({ length: 256 }, (_, value) => Math.log10(one / Math.max(value, 1))));
  const purple = new Float32Array(size);
  for (let k = 0; k < size; k++) {
    const [red, green, blue] = density.map((one, c) => one[rgb[3 * k + c]]);
    purple[k] = black[k] ? 0 : Math.fround(Math.fround(red + green) - 2 * blue);
  }
  return smoothed(smoothed(purple, width, height, 1, width), height, width, width, 1);
}

// scipy.ndimage.gaussian_filter1d, sigma 0.7, along the second of two axes: `lines` lines of `length`, mirrored at the ends.
function smoothed(from, lines, length, between, along) {
  const radius = 3, sigma = 0.7, out = new Float32Array(from.length);
  const raw = Array.from({ length: 2 * radius + 1 }, (_, k) => Math.exp((-0.5 / (sigma * sigma)) * (k - radius) ** 2));
  const total = raw.reduce((sum, one) => sum + one, 0), weights = raw.map((one) => one / total);
  for (let line = 0; line < lines; line++) for (let k = 0; k < length; k++) {
    let sum = 0;
    for (let shift = -radius; shift <= radius; shift++) {
      let at = k + shift;
      while (at < 0 || at >= length) at = at < 0 ? -1 - at : 2 * length - 1 - at;
      sum += weights[shift + radius] * from[line * between + at * along];
    }
    out[line * between + k * along] = sum;
  }
  return out;
}

// scipy.ndimage.label: parts that hang together by their sides, numbered from 1.
function labelled(mask, width, height) {
  const labels = new Int32Array(mask.length);
  let count = 0;
  for (let start = 0; start < mask.length; start++) {
    if (!mask[start] || labels[start]) continue;
    labels[start] = ++count;
    for (const waiting = [start]; waiting.length; ) {
      const at = waiting.pop(), x = at % width, y = (at - x) / width;
      for (const [u, v] of [[x - 1, y], [x + 1, y], [x, y - 1], [x, y + 1]]) {
        const next = v * width + u;
        if (u >= 0 && v >= 0 && u < width && v < height && mask[next] && !labels[next]) {
          labels[next] = count;
          waiting.push(next);
        }
      }
    }
  }
  return { labels, count };
}

const area = ([left, top, right, bottom]) => Math.max(0, right - left) * Math.max(0, bottom - top);
const meet = (a, b) => [Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])];
const join = (a, b) => [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3])];
// As Python sorts tuples of an area and a box, largest first.
const byArea = (a, b) => [a.area, ...a.box].reduce((found, one, k) => found || [b.area, ...b.box][k] - one, 0);

// Area and box of each nucleus, lobes joined, largest first.
function nucleiOf(dark, width, height, values) {
  const pad = values.LOBES_APART, across = width + 2 * pad, down = height + 2 * pad, wide = new Uint8Array(across * down);
  for (let y = 0; y < height; y++) wide.set(dark.subarray(y * width, (y + 1) * width), (y + pad) * across + pad);
  const closed = morphed(morphed(wide, across, down, disc(pad), 1), across, down, disc(pad), 0);
  const inner = new Uint8Array(dark.length);
  for (let y = 0; y < height; y++) inner.set(closed.subarray((y + pad) * across + pad, (y + pad) * across + pad + width), y * width);
  const { labels, count } = labelled(inner, width, height);
  const lobes = Array.from({ length: count }, () => ({ area: 0, box: [width, height, 0, 0] }));
  labels.forEach((label, at) => {
    if (!label) return;
    const lobe = lobes[label - 1], x = at % width, y = (at - x) / width;
    lobe.area += dark[at];
    lobe.box = join(lobe.box, [x, y, x + 1, y + 1]);
  });
  const cells = [];
  for (const lobe of lobes.filter((one) => one.area >= values.SMALLEST_LOBE).sort(byArea)) {
    const larger = cells.find((one) => area(meet(one.box, lobe.box)) > values.OVERLAP * Math.min(area(one.box), area(lobe.box)));
    if (!larger) cells.push({ ...lobe });
    else Object.assign(larger, { area: larger.area + lobe.area, box: join(larger.box, lobe.box) });
  }
  return cells.filter((one) => one.area >= values.SMALLEST_NUCLEUS).sort(byArea);
}

// The box of a nucleus and of all that is connected with it within reach.
function grown(nucleus, body, width, height, values) {
  const frame = [0, 0, width, height], [left, top, right, bottom] = nucleus, { REACH, MARGIN } = values;
  const window = meet([left - REACH, top - REACH, right + REACH, bottom + REACH], frame);
  const across = window[2] - window[0], down = window[3] - window[1], part = new Uint8Array(across * down);
  for (let y = 0; y < down; y++) part.set(body.subarray((window[1] + y) * width + window[0], (window[1] + y) * width + window[2]), y * across);
  const { labels } = labelled(part, across, down), core = new Set();
  for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) core.add(labels[(y - window[1]) * across + x - window[0]]);
  core.delete(0);
  let cell = [across, down, 0, 0];
  labels.forEach((label, at) => {
    const x = at % across, y = (at - x) / across;
    if (core.has(label)) cell = join(cell, [x, y, x + 1, y + 1]);
  });
  const [x, y] = window;
  return meet([x + cell[0] - MARGIN, y + cell[1] - MARGIN, x + cell[2] + MARGIN, y + cell[3] + MARGIN], frame);
}

// Boxes of the white cells of a field, largest nucleus first.
function findCells(picture, values) {
  const factor = Math.max(1, even(Math.min(picture.width, picture.height) / values.SHORT_SIDE));
  const small = reduced(picture, factor), { width, height } = small, purple = purpleOf(small, values);
  const above = (limit) => Uint8Array.from(purple, (one) => (one > Math.fround(limit) ? 1 : 0));
  const dark = above(values.NUCLEUS), pale = above(values.BODY), nuclei = nucleiOf(dark, width, height, values);
  const opened = morphed(morphed(pale, width, height, disc(2), 0), width, height, disc(2), 1);
  const body = opened.map((one, k) => one | dark[k]);
  return nuclei.map(({ box }) => {
    const [left, top, right, bottom] = grown(box, body, width, height, values).map((edge) => edge * factor);
    return [left, top, Math.min(right, picture.width), Math.min(bottom, picture.height)];
  });
}

// Colour of the empty slide: the median of the brightest fifth of a field.
function backgroundOf({ width, height, rgb }) {
  const some = [], sums = new Array(766).fill(0);
  for (let y = 0; y < height; y += 4) for (let x = 0; x < width; x += 4) {
    const at = (y * width + x) * 3, sum = rgb[at] + rgb[at + 1] + rgb[at + 2];
    some.push([at, sum]);
    sums[sum] += 1;
  }
  const limit = percentile(sums, 0.8), bright = some.filter(([, sum]) => sum >= limit);
  return [0, 1, 2].map((c) => {
    const values = bright.map(([at]) => rgb[at + c]).sort((a, b) => a - b), half = values.length >> 1;
    return Math.floor(values.length % 2 ? values[half] : (values[half - 1] + values[half]) / 2);
  });
}

// A square around a box; outside of the frame it is the background.
function cropCell(picture, box, side, background) {
  const { width, height, rgb } = picture, left = even((box[0] + box[2] - side) / 2), top = even((box[1] + box[3] - side) / 2);
  const out = new Uint8Array(side * side * 3);
  for (let y = 0; y < side; y++) for (let x = 0; x < side; x++) for (let c = 0; c < 3; c++) {
    const u = left + x, v = top + y, inside = u >= 0 && v >= 0 && u < width && v < height;
    out[(y * side + x) * 3 + c] = inside ? rgb[(v * width + u) * 3 + c] : background[c];
  }
  return { width: side, height: side, rgb: out };
}

// A photograph of this set is scaled so that its brightest value is 255, as the published copies are.
function brightened({ width, height, rgb }) {
  const factor = Math.fround(255 / rgb.reduce((most, one) => Math.max(most, one), 1));
  return { width, height, rgb: rgb.map((one) => Math.floor(Math.fround(one * factor))) };
}

// Whether a picture is a crop of one cell already: about square, and filled by a cell in its middle.
function isCrop({ width, height }, [first], values) {
  const side = Math.min(width, height);
  if (!first || side < values.SQUARE * Math.max(width, height)) return false;
  const [left, top, right, bottom] = first, away = Math.max(Math.abs(left + right - width), Math.abs(top + bottom - height)) / 2;
  return away <= values.MIDDLE * side && Math.max(right - left, bottom - top) >= values.FILLS * side;
}

// What the net looks at in a picture: [box, picture] a cell.
function viewsOf(picture, data) {
  const { view, reduce, crop_side: side, field_side: shorter } = data.preparation;
  const whole = [[[0, 0, picture.width, picture.height], picture]];
  if (view === "field") return whole;
  const photograph = reduce && picture.height === data.photograph[0] && picture.width === data.photograph[1];
  const field = photograph ? brightened(picture) : picture, background = backgroundOf(field);
  const own = Math.max(1, even((side * (shorter ?? Math.min(field.width, field.height))) / data.finder.PHOTOGRAPH));
  const cells = findCells(field, data.finder);
  return isCrop(field, cells, data.finder) ? whole : cells.map((box) => [box, cropCell(field, box, own, background)]);
}
