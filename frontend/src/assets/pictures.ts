import { PICTURE_BYTES_MAX, PICTURE_TYPES } from './assetStore'

const SVG = 'image/svg+xml'
/** A drawing has no pixels of its own: it gets twice its size, for sharp screens, up to this. */
const DRAWING_PIXELS_MAX = 3000
const DRAWING_SCALE = 2

/** What the file picker offers. */
export const OFFERED_TYPES: readonly string[] = [...PICTURE_TYPES, SVG]

/** A file that cannot become a picture on a board, in a sentence for the person who gave it. */
export class NoPicture extends Error {}

/** Return the picture to upload for a file; a drawing (SVG) becomes a PNG here, as one from a server could carry scripts. */
export async function pictureFrom(file: File): Promise<File> {
  if (file.type.startsWith('video/')) throw new NoPicture('Videos cannot be put on this board; pictures can.')
  const picture = file.type === SVG ? await drawn(file) : file
  if (!PICTURE_TYPES.includes(picture.type)) {
    throw new NoPicture(
      `${file.name || 'This file'} is not a picture that the board takes: PNG, JPEG, GIF, WebP, AVIF or SVG.`,
    )
  }
  if (picture.size > PICTURE_BYTES_MAX) {
    throw new NoPicture(
      `${file.name || 'The picture'} has ${megabytes(picture.size)} MB; a picture may have ${megabytes(PICTURE_BYTES_MAX)}.`,
    )
  }
  return picture
}

async function drawn(file: File): Promise<File> {
  const url = URL.createObjectURL(file)
  try {
    const image = new Image()
    image.src = url
    await image.decode()
    const { width, height } = drawingSize(image.naturalWidth || 300, image.naturalHeight || 150)
    const canvas = document.createElement('canvas')
    canvas.width = width
    canvas.height = height
    canvas.getContext('2d')?.drawImage(image, 0, 0, width, height)
    const blob = await new Promise<Blob | null>(resolve => canvas.toBlob(resolve, 'image/png'))
    if (blob === null) throw new NoPicture('This drawing cannot be turned into a picture.')
    return new File([blob], file.name.replace(/\.svg$/i, '.png'), { type: 'image/png' })
  } catch {
    throw new NoPicture('This drawing (SVG) cannot be turned into a picture: save it as PNG and try again.')
  } finally {
    URL.revokeObjectURL(url)
  }
}

export function drawingSize(width: number, height: number): { width: number; height: number } {
  const scale = Math.min(DRAWING_SCALE, DRAWING_PIXELS_MAX / Math.max(width, height))
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) }
}

function megabytes(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(1).replace(/\.0$/, '')
}
