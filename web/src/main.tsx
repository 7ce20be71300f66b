import 'uplot/dist/uPlot.min.css'
import './style.css'
import { render } from 'preact'
import { App } from './app.js'
import { LiveConnection } from './live.js'
import { applyTheme, storedTheme } from './theme.js'
import { Tokens } from './tokens.js'

applyTheme(storedTheme())
const tokens = new Tokens()
const live = new LiveConnection(new URL('page/live', document.baseURI), tokens)
live.connect()
render(<App connection={live} tokens={tokens} />, document.getElementById('page')!)
