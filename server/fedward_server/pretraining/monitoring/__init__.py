"""What watches a training: its diary and curves, metrics, TensorBoard, and the terminal."""
