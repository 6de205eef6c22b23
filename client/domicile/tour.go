package main

type tourCommand struct{}

// Run tells the tour.
func (tourCommand) Run(a *app) error { return nil }
