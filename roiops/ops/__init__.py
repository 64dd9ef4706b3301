"""One file per operator: the public function, its checks and its line in the list of operators."""
