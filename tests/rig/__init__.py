"""The test rig: a Raspberry Pi, as far as it can be had without one. README.md says what is real."""
