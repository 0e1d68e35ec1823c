// A picture from the camera, in a dialog. Browsers give cameras to secure pages alone (https, or this machine itself);
// elsewhere the phone's own camera is offered through a file field.

const dialog = document.getElementById("camera");
const video = document.getElementById("video");

export const cameraHere = () => Boolean(navigator.mediaDevices && navigator.mediaDevices.getUserMedia);

/** The picture as a JPEG blob, or null if the person cancelled. Rejects where there is no camera or no permission. */
export async function takePicture() {
  const stream = await navigator.mediaDevices.getUserMedia({
    video: { facingMode: "environment", width: { ideal: 1920 }, height: { ideal: 1080 } },
  });
  video.srcObject = stream;
  dialog.showModal();
  try {
    await video.play();
    if (!(await chosen())) return null;
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    return await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
  } finally {
    stream.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
    dialog.close();
  }
}

function chosen() {
  return new Promise((done) => {
    document.getElementById("take").onclick = () => done(true);
    document.getElementById("stop").onclick = () => done(false);
    dialog.oncancel = () => done(false);
  });
}
