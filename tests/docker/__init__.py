"""The Docker test host: an engine, images and a browser, provided where the machine lacks them.

`engine` gives a Docker Engine, `images` the public images a baked project names, `chromium` a
browser. Each uses what the machine has first. Only where there is no engine, or no registry that
answers, is a replacement made out of Debian packages, in a cache directory of its own.

Nothing of this shows in a baked project: it names only the public images.
"""
