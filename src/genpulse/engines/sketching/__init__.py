"""The scene painter behind `local/sketch`: a prompt's words become a landscape, lit and rendered with numpy.

vocabulary   which words mean what (light: no numpy; also used to warn at accept)
noise        smooth random fields
light        colours of the hours and of the weather
view         a height field seen by a camera, without ray casting
sky, land, water, plants, buildings, weather, finish   what is painted, from back to front
scene        what a composed scene is
    places, things, composer   put a scene together
style        neural style networks
engine       the engine that runs in a child process
"""
