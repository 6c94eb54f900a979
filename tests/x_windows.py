"""Closes windows on an X screen as a window manager does when its cross is clicked."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_char_p, c_int, c_long, c_uint, c_ulong, c_void_p

_CLIENT_MESSAGE = 33


class _Message(ctypes.Structure):
    """XClientMessageEvent, filled up to the size of an XEvent."""

    _fields_ = (
        ("type", c_int),
        ("serial", c_ulong),
        ("send_event", c_int),
        ("display", c_void_p),
        ("window", c_ulong),
        ("message_type", c_ulong),
        ("format", c_int),
        ("data", c_long * 5),
        ("rest", c_long * 12),
    )


def close_all() -> None:
    """Ask every window of the screen to close."""
    x = ctypes.CDLL("libX11.so.6")
    x.XOpenDisplay.restype = c_void_p
    x.XInternAtom.restype = x.XDefaultRootWindow.restype = c_ulong
    x.XInternAtom.argtypes = [c_void_p, c_char_p, c_int]
    x.XDefaultRootWindow.argtypes = [c_void_p]
    x.XQueryTree.argtypes = [c_void_p, c_ulong, *[POINTER(c_ulong)] * 2]
    x.XQueryTree.argtypes += [POINTER(POINTER(c_ulong)), POINTER(c_uint)]
    x.XSendEvent.argtypes = [c_void_p, c_ulong, c_int, c_long, c_void_p]
    x.XSync.argtypes = [c_void_p, c_int]
    display = x.XOpenDisplay(None)
    windows, number = POINTER(c_ulong)(), c_uint()
    root = x.XDefaultRootWindow(display)
    x.XQueryTree(display, root, byref(c_ulong()), byref(c_ulong()), byref(windows), byref(number))
    protocols = x.XInternAtom(display, b"WM_PROTOCOLS", 0)
    delete = x.XInternAtom(display, b"WM_DELETE_WINDOW", 0)
    for window in windows[: number.value]:
        message = _Message(_CLIENT_MESSAGE, 0, 1, display, window, protocols, 32)
        message.data[0] = delete
        x.XSendEvent(display, window, 0, 0, byref(message))
    x.XSync(display, 0)
