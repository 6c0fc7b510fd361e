"""Training with Lightning: modules, data modules, callbacks. Alone imports lightning."""
