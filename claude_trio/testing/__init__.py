"""What the tests of a program that uses claude_trio need: a model, a world and a scripted CLI."""
