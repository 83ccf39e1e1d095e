"""The crypto venues' side of the wire: market data out of a capture, over real websockets (`mds sim --venue`)."""
