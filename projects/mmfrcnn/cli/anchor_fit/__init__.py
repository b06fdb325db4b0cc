"""How well a config's anchors fit its training boxes, and which would fit better."""
