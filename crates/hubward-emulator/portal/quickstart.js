// quickstart
