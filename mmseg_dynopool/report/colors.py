"""Okabe and Ito's colours, which colour-blind eyes tell apart."""

BLUE = '#0072B2'
VERMILION = '#D55E00'
SKY_BLUE = '#56B4E9'
ORANGE = '#E69F00'
# Height and width of an image, a feature map or a scale.
AXIS_COLORS = dict(h=BLUE, w=VERMILION)
