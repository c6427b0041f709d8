"""One file a venue and wire: frames in, actions out; no socket, no file, no clock."""
