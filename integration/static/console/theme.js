"use strict";
// Light, dark, or as the system says. Runs before the page is drawn. The admin's tables keep the choice under
// the same name, so that both look alike.
(() => {
  const KEY = "_x_adminTheme";
  const system = window.matchMedia("(prefers-color-scheme: dark)");

  function wanted() {
    try {
      return JSON.parse(localStorage.getItem(KEY)) || "auto";
    } catch {
      return "auto";
    }
  }

  function show() {
    const name = wanted();
    const isDark = name === "dark" || (name === "auto" && system.matches);
    document.documentElement.classList.toggle("dark", isDark);
    for (const button of document.querySelectorAll("button[data-theme]")) {
      button.setAttribute("aria-pressed", String(button.dataset.theme === name));
    }
  }

  show();
  system.addEventListener("change", show);
  window.addEventListener("storage", show);
  document.addEventListener("DOMContentLoaded", () => {
    for (const button of document.querySelectorAll("button[data-theme]")) {
      button.addEventListener("click", () => {
        try {
          localStorage.setItem(KEY, JSON.stringify(button.dataset.theme));
        } catch {
          return; // without storage the system's choice stays
        }
        show();
      });
    }
    show();
  });
})();
