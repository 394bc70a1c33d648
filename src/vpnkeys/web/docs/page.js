// Starts Swagger UI. A file of its own, because the page's policy allows no script inside the page.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  // Without this, the browser sends the address of the description to validator.swagger.io.
  validatorUrl: null,
  // The API key is kept only as long as this tab is open.
  persistAuthorization: false,
});
