"""The GIMP plug-in in a real GIMP."""
