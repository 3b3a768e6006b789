// What is seen: the picture with its boxes, and a card a cell.

const data = JSON.parse(document.getElementById("data").textContent);
const COLOURS = ["#d1495b", "#2e6f95", "#7a5195", "#3a7d44", "#b5651d", "#5f6b6d"];
const colourOf = (name) => COLOURS[data.classes.indexOf(name) % COLOURS.length];
const percent = (share) => `${(100 * share).toFixed(share > 0.0995 ? 0 : 1)} %`;

function element(kind, options = {}, ...children) {
  const { style, ...rest } = options, made = Object.assign(document.createElement(kind), rest);
  Object.assign(made.style, style);
  made.append(...children);
  return made;
}

function canvasOf({ width, height, rgb }) {
  const canvas = element("canvas", { width, height }), shown = new ImageData(width, height);
  for (let k = 0; k < width * height; k++) shown.data.set([rgb[3 * k], rgb[3 * k + 1], rgb[3 * k + 2], 255], 4 * k);
  canvas.getContext("2d").putImageData(shown, 0, 0);
  return canvas;
}

function field(picture, cells) {
  const canvas = canvasOf(picture), context = canvas.getContext("2d"), unit = Math.min(picture.width, picture.height) / 200;
  context.lineWidth = Math.max(2, unit);
  context.font = `bold ${Math.max(11, 7 * unit)}px system-ui, sans-serif`;
  cells.forEach(({ box: [left, top, right, bottom], name, reason }, number) => {
    const text = ` ${number + 1} ${name.toLowerCase()}${reason ? "?" : ""} `, tall = Math.max(15, 9 * unit);
    const wide = context.measureText(text).width, x = Math.min(left, picture.width - wide), y = Math.max(0, top - tall);
    context.strokeStyle = context.fillStyle = colourOf(name);
    context.setLineDash(reason ? [4 * unit, 2 * unit] : []);
    context.strokeRect(left, top, right - left, bottom - top);
    context.fillRect(x, y, wide, tall);
    context.fillStyle = "white";
    context.fillText(text, x, y + 0.75 * tall);
  });
  return canvas;
}

function bars(cell) {
  return data.classes.map((name, k) =>
    element("div", { className: "bar" },
      element("span", { textContent: name.toLowerCase() }),
      element("i", {}, element("b", { style: { width: `${100 * cell.shares[k]}%`, background: colourOf(name) } })),
      element("span", { textContent: percent(cell.shares[k]) })));
}

function nearestOf(cell) {
  const shown = cell.nearest.map(({ photograph, label, distance, picture }) =>
    element("li", { title: `distance ${distance.toFixed(1)}` },
      ...(picture ? [element("img", { src: picture, alt: "" })] : []),
      element("span", { textContent: `${photograph}: ${label.toLowerCase()}` })));
  return element("div", {}, element("h4", { textContent: "Most like these learnt cells" }), element("ol", {}, ...shown));
}

function overlay(cell, { width, height, heat }) {
  const most = heat.reduce((found, one) => Math.max(found, one), 1e-9), canvas = canvasOf(cell.view), context = canvas.getContext("2d");
  const small = element("canvas", { width, height }), shown = new ImageData(width, height);
  heat.forEach((one, at) => shown.data.set([255, 60, 0, 190 * (one / most)], 4 * at));
  small.getContext("2d").putImageData(shown, 0, 0);
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
  return canvas;
}

function card(net, cell, number) {
  const views = element("div", { className: "views" }, canvasOf(cell.view));
  const button = element("button", { textContent: "Show what it rests on" });
  button.onclick = async () => {
    Object.assign(button, { disabled: true, textContent: "covering it patch by patch ..." });
    views.append(overlay(cell, await occlusion(net, cell)));
    button.replaceWith(element("small", { textContent: "Red: where covering it takes most from the answer (occlusion)." }));
  };
  const doubt = `doubt ${cell.doubt.toFixed(2)}${cell.reason ? `: ${cell.reason.toLowerCase()}` : " (above 1 is too much)"}`;
  return element("article", { style: { borderColor: colourOf(cell.name) } },
    element("h3", { textContent: `${number + 1}. ${cell.name.toLowerCase()}` }),
    element("p", { className: cell.reason ? "doubted" : "", textContent: doubt }),
    views, button, ...bars(cell), nearestOf(cell));
}

async function show(net, file) {
  const results = document.getElementById("results"), place = element("section", {}, element("h2", { textContent: file.name }));
  results.prepend(place);
  const picture = await decoded(file);
  if (!picture) return place.append(element("p", { textContent: "This is no picture that a browser reads (JPEG, PNG, WebP, BMP)." }));
  const cells = await answersFor(net, picture), count = cells.length === 1 ? "1 white cell" : `${cells.length || "no"} white cells`;
  const learnt = (await isLearnt(net, file)) ? " The net has learnt this very picture, or another of its field: this is memory, not a result." : "";
  place.append(
    element("p", { textContent: `${count} found.${learnt}` }),
    element("div", { className: "both" },
      element("div", { className: "field" }, field(picture, cells)),
      element("div", { className: "cells" }, ...cells.map((cell, number) => card(net, cell, number)))));
}

const drop = document.getElementById("drop"), input = document.getElementById("files");
const ready = openNet(data);
async function showAll(files) {
  drop.classList.add("busy");
  try {
    for (const file of files) await show(await ready, file);
  } catch (error) {
    document.getElementById("results").prepend(element("p", { className: "doubted", textContent: `Stopped: ${error.message}` }));
  }
  drop.classList.remove("busy");
}
input.onchange = () => showAll([...input.files]);
document.ondragover = (event) => event.preventDefault();
document.ondrop = (event) => {
  event.preventDefault();
  showAll([...event.dataTransfer.files]);
};
document.onpaste = (event) => showAll([...event.clipboardData.files]);
ready.then(
  () => (document.getElementById("state").textContent = "Drop pictures here, paste one, or"),
  (error) => (document.getElementById("state").textContent = `This browser cannot run the net: ${error.message}`));
