"""The worked example: bids of an auction, summed over all and per item."""
