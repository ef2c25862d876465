// Moves the line over a picture while its sound plays: figure.player has both.
for (const figure of document.querySelectorAll("figure.player")) {
  const audio = figure.querySelector("audio");
  const head = figure.querySelector(".head");
  // The part of the picture that is the plot, from left to right; the rest is its frame.
  const [left, right] = (figure.dataset.plot ?? "0 1").split(" ").map(Number);
  const move = () => {
    const share = audio.duration ? audio.currentTime / audio.duration : 0;
    head.style.left = `${100 * (left + share * (right - left))}%`;
    head.style.opacity = audio.currentTime > 0 ? 0.9 : 0;
    if (!audio.paused) requestAnimationFrame(move);
  };
  audio.addEventListener("play", move);
  audio.addEventListener("seeked", move);
}
