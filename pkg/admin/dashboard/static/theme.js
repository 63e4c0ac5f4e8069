// The theme is set before the first paint, so that a dark page never flashes white.
// It is a classic script for that reason; main.js has the button.
const theme = localStorage.getItem("limeload-theme");
if (theme) document.documentElement.dataset.theme = theme;
