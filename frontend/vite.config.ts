import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import react from '@vitejs/plugin-react'
import { defineConfig, type Plugin } from 'vitest/config'

const COMPRESSIBLE = /\.(js|css|svg|json)$/

/** Writes a .br and a .gz beside what compresses well, so that no relay compresses the same bytes again and again. */
function precompress(): Plugin {
  return {
    name: 'precompress',
    apply: 'build',
    writeBundle({ dir }) {
      if (dir === undefined) return
      for (const name of readdirSync(dir, { recursive: true, encoding: 'utf8' })) {
        if (!COMPRESSIBLE.test(name)) continue
        const content = readFileSync(join(dir, name))
        writeFileSync(join(dir, `${name}.br`), brotliCompressSync(content))
        writeFileSync(join(dir, `${name}.gz`), gzipSync(content, { level: 9 }))
      }
    },
  }
}

export default defineConfig({
  plugins: [react(), precompress()],
  build: {
    // Into the relay's package, which serves it: an editable install and a wheel find it in the same place.
    outDir: '../relay/canvas',
    emptyOutDir: true,
    assetsDir: 'canvas',
    // Small pictures and fonts too are files: the content security policy is simpler, and they are cached for good.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 2500,
  },
  test: { environment: 'jsdom', include: ['tests/**/*.test.{ts,tsx}'] },
})
