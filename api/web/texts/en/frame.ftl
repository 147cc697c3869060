# What every page has around it.
frame-skip = Skip to the content
frame-main = Main
frame-log-out = Log out
frame-unsafe = This connection is not encrypted.
frame-unsafe-why = Anybody on the way can take over your session. Put Slipway behind https and set { $setting }.
frame-language = Language
frame-theme = Theme
frame-theme-system = System
frame-theme-light = Light
frame-theme-dark = Dark
