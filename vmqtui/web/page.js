"use strict";

// The terminal measures its cells once, so the font has to be there first; its script begins with window.onload.
window.addEventListener("load", async () => {
  document.getElementById("again").addEventListener("click", () => window.location.replace("/"));
  await Promise.all(["", "bold "].map((weight) => document.fonts.load(weight + "16px 'Roboto Mono'"))).catch(() => {});
  const script = document.createElement("script");
  script.src = "/static/js/textual.js";
  script.addEventListener("load", (event) => {
    window.onload(event);
    document.querySelector(".xterm-helper-textarea").focus();
  });
  document.head.append(script);
});
