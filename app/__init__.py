"""What a person sees: pages, charts and their server. Reads the lake through `lake.query`; never imports `flows`."""
