// Shows /openapi.json. Nothing here asks any other host: the content security policy forbids it, and no option needs it.
"use strict";

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const followColorScheme = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
followColorScheme();
dark.addEventListener("change", followColorScheme);

/** @type {any} */ (window).SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  // By default the document would be sent to validator.swagger.io for a badge.
  validatorUrl: null,
  // ?url= and ?config= in a link must not make this page show, or call, another service.
  queryConfigEnabled: false,
  // A token typed in is forgotten when the page is left.
  persistAuthorization: false,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: false,
});
