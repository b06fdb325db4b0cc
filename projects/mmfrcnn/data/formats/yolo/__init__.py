"""YOLO: which images a split has, their labels, the data set over them, writing."""
