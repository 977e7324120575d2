import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { App } from './App'
import { storedScheme } from './boards/browserStorage'
import { showScheme } from './theme'
import './theme.css'

showScheme(storedScheme())
const root = document.getElementById('root')
if (root !== null) {
  createRoot(root).render(
    <StrictMode>
      <App />
    </StrictMode>,
  )
}
