"""A real RTSP server for tests: GStreamer's, run by the system's Python, which has its bindings.

``/usr/bin/python3 rtsp_server.py FOLDER PORT WIDTH HEIGHT [tcp|udp]`` serves the JPEG pictures
of a folder (``0000.jpg`` …, sides divisible by 8) over and over at 15 a second as
rtsp://127.0.0.1:PORT/live, over the transport that is named alone.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

folder, port, width, height, *only = sys.argv[1:]
Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(port)
caps = f"image/jpeg,width={width},height={height},framerate=15/1"
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    f'( multifilesrc location="{folder}/%04d.jpg" loop=true caps="{caps}" '
    "! jpegdec ! videoconvert ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 "
    "! rtph264pay name=pay0 pt=96 config-interval=1 )"
)
factory.set_shared(True)
if only:
    factory.set_protocols(getattr(GstRtsp.RTSPLowerTrans, only[0].upper()))
server.get_mount_points().add_factory("/live", factory)
server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
