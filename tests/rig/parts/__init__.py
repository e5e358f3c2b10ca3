"""The parts of the rig, a file each: `run` does its checks and says each in a line."""
