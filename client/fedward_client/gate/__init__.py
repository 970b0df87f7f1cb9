"""The one door of a site for Flower's traffic: what comes in is opened, what goes out was cleared."""
