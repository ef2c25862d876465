"""Scripts that train, evaluate and publish the models of the zoo."""
