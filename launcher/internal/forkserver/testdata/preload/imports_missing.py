import nonesuch.thing
