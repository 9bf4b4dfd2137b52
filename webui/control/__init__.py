"""Control units: pictures that steer the drawing. Adapters give residuals; weight, window, mode and mask are ours."""
