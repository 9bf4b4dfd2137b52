"""Files of other machines: resumed where they broke off, checked whole. It knows no models."""
