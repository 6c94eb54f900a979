"""Sources of frames: cameras, videos, folders."""
