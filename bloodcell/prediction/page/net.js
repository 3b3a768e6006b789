// The net in the page: ONNX Runtime Web, two graphs (see build.py), and what is made of their answers.

const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

async function unpacked(id) {
  const packed = new Blob([bytesOf(document.getElementById(id).textContent.trim())]);
  return new Uint8Array(await new Response(packed.stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
}

async function openNet(data) {
  const script = URL.createObjectURL(new Blob([await unpacked("runtime-script")], { type: "text/javascript" }));
  const ort = await import(script);
  Object.assign(ort.env.wasm, { wasmBinary: await unpacked("runtime"), numThreads: 1, proxy: false });
  const open = async (id) => ort.InferenceSession.create(await unpacked(id), { executionProviders: ["wasm"] });
  const [prepare, answer, learnt] = [await open("prepare"), await open("answer"), await unpacked("learnt")];
  // ONNX Runtime does one thing at a time.
  let before = Promise.resolve();
  const run = (session, feeds) => (before = before.then(() => session.run(feeds)));
  const images = async ({ width, height, rgb }) => {
    const pictures = new ort.Tensor("uint8", Uint8Array.from(rgb), [1, height, width, 3]);
    return (await run(prepare, { pictures })).images;
  };
  return {
    images,
    answer: (tensor) => run(answer, { images: tensor }),
    tensor: (values, dims) => new ort.Tensor("float32", values, dims),
    learnt: new Set(new BigInt64Array(learnt.buffer)),
    data,
  };
}

// RGB bytes of a picture file as its pixels are, upright, over white where it is transparent; null if it is none.
async function decoded(blob) {
  try {
    const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height), context = canvas.getContext("2d");
    context.fillStyle = "white";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(bitmap, 0, 0);
    const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
    const rgb = new Uint8Array(width * height * 3);
    for (let k = 0; k < width * height; k++) for (let c = 0; c < 3; c++) rgb[3 * k + c] = data[4 * k + c];
    return { width, height, rgb };
  } catch {
    return null;
  }
}

// Whether the weights have learnt this file or another picture of its field group; known by the bytes. Browsers hash on
// pages from disk or https alone.
async function isLearnt(net, blob) {
  if (!crypto.subtle) return false;
  const digest = new DataView(await crypto.subtle.digest("SHA-256", await blob.arrayBuffer()));
  return net.learnt.has(digest.getBigInt64(0));
}

function whyDoubted(doubt, possible) {
  if (doubt > 1) return "unlike the learnt cells";
  if (!possible || possible.length === 1) return "";
  return possible.length ? `could be ${possible.join(" or ")}` : "no class is probable enough";
}

// A row a cell, as bloodcell.predict gives them, with the nearest learnt cells.
async function answersFor(net, picture) {
  const { classes, limits, known } = net.data, cells = [];
  for (const [box, view] of viewsOf(picture, net.data)) {
    const images = await net.images(view), found = await net.answer(images);
    const shares = [...found.probabilities.data], distances = [...found.distances.data];
    const doubt = distances[known.neighbours - 1] / known.threshold;
    const possible = limits && classes.filter((_, k) => limits[k] === null || shares[k] >= limits[k]);
    const near = [...found.nearest.data].map((row, rank) => ({ ...known.cells[Number(row)], distance: distances[rank] }));
    const isFirst = ({ photograph }, rank) => near.findIndex((one) => one.photograph === photograph) === rank;
    const nearest = near.filter(isFirst).slice(0, 5);
    const name = classes[shares.indexOf(Math.max(...shares))];
    cells.push({ box, view, images, name, shares, doubt, possible, reason: whyDoubted(doubt, possible), nearest });
  }
  return cells;
}

// Occlusion, as bloodcell.model.attribution does it: how much the logit of the answer falls where a grey patch lies.
async function occlusion(net, cell) {
  const [, , height, width] = cell.images.dims, { classes, patches } = net.data;
  const target = cell.shares.indexOf(Math.max(...cell.shares));
  const [tall, wide] = [height, width].map((side) => Math.max(1, Math.floor(side / patches)));
  const [down, across] = [tall, wide].map((side) => Math.max(1, Math.floor(side / 2)));
  const starts = (side, patch, stride) => Array.from({ length: 1 + Math.ceil((side - patch) / stride) }, (_, k) => k * stride);
  const corners = starts(height, tall, down).flatMap((y) => starts(width, wide, across).map((x) => [y, x]));
  const whole = (await net.answer(cell.images)).logits.data[target], heat = new Float32Array(height * width), times = heat.slice();
  const each = 15, size = cell.images.data.length;
  for (let first = 0; first < corners.length; first += each) {
    const some = corners.slice(first, first + each), values = new Float32Array(some.length * size);
    const within = (visit) => some.forEach(([top, left], k) => {
      for (let y = top; y < Math.min(top + tall, height); y++) for (let x = left; x < Math.min(left + wide, width); x++) visit(y * width + x, k);
    });
    some.forEach((_, k) => values.set(cell.images.data, k * size));
    within((at, k) => [0, 1, 2].forEach((c) => (values[k * size + c * height * width + at] = 0)));
    const { logits } = await net.answer(net.tensor(values, [some.length, 3, height, width]));
    within((at, k) => {
      heat[at] += whole - logits.data[k * classes.length + target];
      times[at] += 1;
    });
  }
  return { height, width, heat: heat.map((one, at) => Math.max(0, one / times[at])) };
}
