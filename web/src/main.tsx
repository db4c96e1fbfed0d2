// Starts the page. The script stands in the head, so that the theme is right before anything is painted.

import "./style/frame.css";
import "./style/list.css";
import "./style/chart.css";
import "./style/narrow.css";
import "./theme";
import { render } from "preact";
import { App } from "./app";

document.addEventListener("DOMContentLoaded", () => {
  const root = document.getElementById("page");
  if (root) render(<App />, root);
});
