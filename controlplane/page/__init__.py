"""Pages to hand out: one HTML file each that needs nothing from elsewhere, light and dark, wide and narrow."""
