"""The pages: a screen each, thin over `app.feed` and `lake.query`."""
