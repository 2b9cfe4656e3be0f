"""How far an answer is from the optimum of the continuous problem: bounds, and meshes refined until they are met."""
