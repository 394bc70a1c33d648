// Starts Swagger UI. A file of its own, because the page's policy allows no script inside the page.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  // Else the browser asks validator.swagger.io about this server.
  validatorUrl: null,
  // The API key stays in this tab and is gone with it.
  persistAuthorization: false,
});
