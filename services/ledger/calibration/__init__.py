"""The report on calibration: predicted chances against what came of the attempts."""
