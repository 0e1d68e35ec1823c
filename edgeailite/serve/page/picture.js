// From what a person chose to what is shown and sent. The service does not turn pictures by EXIF and refuses huge ones,
// so those are redrawn here; all others are sent as they are, byte for byte.

/** Orientation 1..8 from the EXIF of a JPEG; 1 for all else. */
export function jpegOrientation(buffer) {
  const view = new DataView(buffer);
  if (view.byteLength < 4 || view.getUint16(0) !== 0xffd8) return 1;
  let at = 2;
  while (at + 4 <= view.byteLength && view.getUint8(at) === 0xff) {
    const marker = view.getUint8(at + 1);
    if (marker === 0xda) return 1;
    if (marker === 0xe1 && at + 18 < view.byteLength && view.getUint32(at + 4) === 0x45786966) {
      return tiffOrientation(view, at + 10);
    }
    at += 2 + view.getUint16(at + 2);
  }
  return 1;
}

function tiffOrientation(view, start) {
  const little = view.getUint16(start) === 0x4949;
  const directory = start + view.getUint32(start + 4, little);
  if (directory + 2 > view.byteLength) return 1;
  const entries = view.getUint16(directory, little);
  for (let entry = directory + 2; entry < directory + 2 + 12 * entries && entry + 10 <= view.byteLength; entry += 12) {
    if (view.getUint16(entry, little) === 0x0112) return view.getUint16(entry + 8, little) || 1;
  }
  return 1;
}

/** {bitmap, blob, note}: what to show and what to send of a file or a camera's picture. */
export async function prepare(file, limits) {
  const bitmap = await createImageBitmap(file);  // upright
  const turned = jpegOrientation(await file.slice(0, 1 << 18).arrayBuffer()) !== 1;
  const pixels = bitmap.width * bitmap.height;
  if (!turned && pixels <= limits.max_pixels && file.size <= limits.max_bytes) return { bitmap, blob: file, note: "" };
  const scale = Math.min(1, Math.sqrt((limits.max_pixels * 0.98) / pixels));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.floor(bitmap.width * scale));
  canvas.height = Math.max(1, Math.floor(bitmap.height * scale));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
  return { bitmap: await createImageBitmap(canvas), blob, note: scale < 1 ? "made smaller" : turned ? "turned upright" : "recompressed" };
}

/** {width, height, labels} of the service's label PNG (8-bit grey): decoded here, because reading a canvas may be inexact. */
export async function readLabels(buffer) {
  const view = new DataView(buffer);
  const parts = [];
  let width = 0, height = 0;
  for (let at = 8; at + 12 <= buffer.byteLength;) {
    const length = view.getUint32(at), kind = view.getUint32(at + 4);
    if (kind === 0x49484452) {  // IHDR
      width = view.getUint32(at + 8);
      height = view.getUint32(at + 12);
      if (view.getUint16(at + 16) !== 0x0800 || view.getUint8(at + 20)) throw new Error("expected an 8-bit grey PNG");
    }
    if (kind === 0x49444154) parts.push(new Uint8Array(buffer, at + 8, length));  // IDAT
    at += 12 + length;
  }
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  const rows = new Uint8Array(await new Response(stream).arrayBuffer());
  return { width, height, labels: unfilter(rows, width, height) };
}

/** PNG filters 0 to 4 undone, one byte per pixel. */
function unfilter(rows, width, height) {
  const out = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const filter = rows[y * (width + 1)];
    for (let x = 0; x < width; x++) {
      const here = y * width + x;
      const left = x ? out[here - 1] : 0, above = y ? out[here - width] : 0, corner = x && y ? out[here - width - 1] : 0;
      const guess = filter === 1 ? left : filter === 2 ? above : filter === 3 ? (left + above) >> 1
        : filter === 4 ? paeth(left, above, corner) : 0;
      out[here] = rows[y * (width + 1) + 1 + x] + guess;
    }
  }
  return out;
}

function paeth(left, above, corner) {
  const guess = left + above - corner;
  const a = Math.abs(guess - left), b = Math.abs(guess - above), c = Math.abs(guess - corner);
  return a <= b && a <= c ? left : b <= c ? above : corner;
}
