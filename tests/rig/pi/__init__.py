"""An emulated Raspberry Pi 3B: its root, made without running a line of arm64 code, and the machine that it runs in."""
